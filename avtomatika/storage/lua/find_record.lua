-- A record whose time has not run out.
-- parts: records

return cmsgpack.pack({find_kept(B.id) and redis.call('HGET', K.records, B.id) or false, {}})
