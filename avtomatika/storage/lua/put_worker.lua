-- Remembers a worker for a time.
-- keys: workers worker_ends

prune(K.workers, K.worker_ends, 100)
redis.call('HSET', K.workers, B.id, B.raw)
redis.call('ZADD', K.worker_ends, NOW + B.ttl, B.id)
return cmsgpack.pack({false, {}})
