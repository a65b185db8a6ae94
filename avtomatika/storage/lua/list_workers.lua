-- The workers whose time has not run out.
-- keys: workers worker_ends

local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.worker_ends, '(' .. exactly(NOW), '+inf')) do
  found[#found + 1] = redis.call('HGET', K.workers, id)
end
return cmsgpack.pack({found, {}})
