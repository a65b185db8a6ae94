-- All tasks of a job, in the order in which they first came.
-- parts: tasks
-- job keys: job_tasks

return cmsgpack.pack({read_tasks(redis.call('ZRANGE', K.job_tasks, 0, -1)), {}})
