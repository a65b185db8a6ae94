"""Files of jobs: kept outside the jobs, in an S3 bucket or in a local directory."""
