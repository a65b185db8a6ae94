-- Positions have no gaps but those left by trimming, so a comparison finds the rows without counting.
DELETE FROM job_history WHERE position <= (SELECT max(position) FROM job_history) - ?
