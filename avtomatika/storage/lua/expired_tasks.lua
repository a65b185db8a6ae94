-- Claimed tasks whose lease has ended, earliest first.
-- parts: tasks

return cmsgpack.pack({read_tasks(redis.call('ZRANGEBYSCORE', K.leases, '-inf', NOW, 'LIMIT', 0, B.limit)), {}})
