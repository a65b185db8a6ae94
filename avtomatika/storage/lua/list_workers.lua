-- The workers whose time has not run out.
-- parts: workers

local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.worker_ends, '(' .. exactly(NOW), '+inf')) do
  found[#found + 1] = read_worker(id)
end
return cmsgpack.pack({found, {}})
