-- Workers: what is known of each as bytes, and beside it when it was last seen, which changes far more often.
-- keys: workers worker_seen worker_ends

local function forget_worker(id)
  redis.call('HDEL', K.workers, id)
  redis.call('HDEL', K.worker_seen, id)
  redis.call('ZREM', K.worker_ends, id)
end

-- Returns the bytes of a worker and of its moment.
local function read_worker(id)
  return {redis.call('HGET', K.workers, id), redis.call('HGET', K.worker_seen, id)}
end
