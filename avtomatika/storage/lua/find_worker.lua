-- A worker whose time has not run out.
-- parts: workers

local ends = redis.call('ZSCORE', K.worker_ends, B.id)
return cmsgpack.pack({ends and tonumber(ends) > NOW and read_worker(B.id), {}})
