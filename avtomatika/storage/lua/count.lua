-- Counts under a key, unless that would be too much; answers whether it did, how much is counted, and until when.
-- keys: counters counter_ends

prune_records(K.counters, K.counter_ends, 10)

local counter = read_record(K.counters, B.key)
if counter and counter.ends <= NOW then
  counter = nil
end
local total, ends = counter and counter.total or 0, counter and counter.ends or NOW + B.ttl
local granted = B.amount < 0 or total + B.amount <= B.limit
if granted then
  total = math.max(0, total + B.amount)
  if counter or B.amount > 0 then
    write_record(K.counters, B.key, {total = total, ends = ends})
    redis.call('ZADD', K.counter_ends, ends, B.key)
  end
end
return cmsgpack.pack({{granted, total, ends}, {}})
