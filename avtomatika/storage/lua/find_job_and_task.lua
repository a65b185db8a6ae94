-- A job and a task, as they are at one moment.
-- parts: tasks
-- job keys: job

return cmsgpack.pack({{redis.call('HGETALL', K.job), read_tasks({B.task})}, {}})
