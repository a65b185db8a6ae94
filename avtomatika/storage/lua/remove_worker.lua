-- Forgets a worker.
-- keys: workers worker_ends

redis.call('HDEL', K.workers, B.id)
redis.call('ZREM', K.worker_ends, B.id)
return cmsgpack.pack({false, {}})
