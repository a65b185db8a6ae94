-- Remembers workers for a time as they are, but for when they were seen; returns the places of those that are forgotten,
-- or of whom somebody else has written since.
-- parts: workers

prune(K.worker_ends, 100, forget_worker)
local known = redis.call('HMGET', K.worker_seen, unpack(B.ids))
local ends = redis.call('ZMSCORE', K.worker_ends, unpack(B.ids))
local seen, untils, others = {}, {}, {}
local moment = exactly(NOW + B.ttl)
for place, id in ipairs(B.ids) do
  local is_there = ends[place] and tonumber(ends[place]) > NOW
  if is_there and (known[place] == B.last[place] or known[place] == B.seen[place]) then
    seen[#seen + 1] = id
    seen[#seen + 1] = B.seen[place]
    untils[#untils + 1] = moment
    untils[#untils + 1] = id
  else
    others[#others + 1] = place
  end
end
if #seen > 0 then
  redis.call('HSET', K.worker_seen, unpack(seen))
  redis.call('ZADD', K.worker_ends, unpack(untils))
end
return cmsgpack.pack({others, {}})
