-- Takes due wake-ups. The job that comes first is known only here, so the key of its fields is made here too.
-- parts: numbers wakes signals

-- So many wake-ups whose time has come are sorted in at once; more at one moment wait for the next call.
refresh_wakes(1000)

local ends = NOW + B.lease
local taken = {}
if B.limit > 0 then
  for _, member in ipairs(redis.call('ZRANGE', K.due, 0, B.limit - 1)) do
    local id = string.sub(member, 17)
    local wake = read_record(K.wakes, id)
    withdraw_wake(id, wake)
    wake.token = id .. '/' .. next_seq() .. '/' .. B.owner
    wake.owner, wake.ends, wake.deliveries = B.owner, ends, wake.deliveries + 1
    put_claimed(id, wake)
    taken[#taken + 1] = {wake.token, wake.deliveries, redis.call('HGETALL', B.job_prefix .. id)}
  end
end

local signals = {}
if #taken > 0 then
  signals[1] = signal('timer', '', ends)
end
publish(signals)
return cmsgpack.pack({taken, signals})
