-- What a job waits for: its wake-up, its timers, its open tasks.
-- parts: numbers wakes tasks
-- job keys: job_open job_timers

local wake = redis.call('HGET', K.wakes, B.id)
local open = read_tasks(redis.call('SMEMBERS', K.job_open))
return cmsgpack.pack({{NOW, wake, redis.call('HVALS', K.job_timers), open}, {}})
