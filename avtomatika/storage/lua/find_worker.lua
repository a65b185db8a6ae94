-- A worker whose time has not run out.
-- keys: workers worker_ends

local ends = redis.call('ZSCORE', K.worker_ends, B.id)
local raw = ends and tonumber(ends) > NOW and redis.call('HGET', K.workers, B.id)
return cmsgpack.pack({raw or false, {}})
