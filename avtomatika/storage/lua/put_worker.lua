-- Remembers a worker for a time.
-- parts: workers

prune(K.worker_ends, 100, forget_worker)
redis.call('HSET', K.workers, B.id, B.raw)
redis.call('HSET', K.worker_seen, B.id, B.seen)
redis.call('ZADD', K.worker_ends, NOW + B.ttl, B.id)
return cmsgpack.pack({false, {}})
