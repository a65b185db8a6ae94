-- The ready queue. A wake-up stands in exactly one of three sets: later (by its moment), due (by priority, then
-- moment, then place), claimed (by the end of the claim).
-- keys: wakes later due claimed

-- Members of one priority are in the order of their bytes: the moment, then the place, then the job.
local function due_member(id, wake)
  return struct.pack('>d', math.max(wake.at, 0)) .. struct.pack('>I8', wake.seq) .. id
end

local function put_due(id, wake)
  wake.place = 'due'
  redis.call('ZADD', K.due, -wake.priority, due_member(id, wake))
  write_record(K.wakes, id, wake)
end

local function put_claimed(id, wake)
  wake.place = 'claimed'
  redis.call('ZADD', K.claimed, wake.ends, id)
  write_record(K.wakes, id, wake)
end

local function withdraw_wake(id, wake)
  if wake.place == 'due' then
    redis.call('ZREM', K.due, due_member(id, wake))
  else
    redis.call('ZREM', K[wake.place], id)
  end
end

local function forget_wake(id, wake)
  if wake then
    withdraw_wake(id, wake)
    redis.call('HDEL', K.wakes, id)
  end
end

-- Puts a new wake-up in the place of the old one, if there is one; with a hold it is claimed by that.
local function put_wake(id, old, ready, moment, hold)
  if old then
    withdraw_wake(id, old)
  end
  local wake = {at = ready.at, priority = ready.priority, seq = next_seq(), deliveries = 0}
  if hold then
    wake.token, wake.owner, wake.ends, wake.deliveries = hold.token, hold.owner, NOW + hold.lease, 1
    put_claimed(id, wake)
  elseif wake.at <= moment then
    put_due(id, wake)
  else
    wake.place = 'later'
    redis.call('ZADD', K.later, wake.at, id)
    write_record(K.wakes, id, wake)
  end
end

-- Replaces a claimed wake-up by a new one that the same claim holds already.
local function renew_wake(id, wake, ready)
  local is_due = wake.place == 'due'
  if is_due then
    withdraw_wake(id, wake)
  end
  wake.at, wake.priority, wake.deliveries = ready.at, ready.priority, 1
  wake.seq = next_seq()
  if is_due then
    put_due(id, wake)
  else
    -- It stands where it stood: by the end of the claim.
    write_record(K.wakes, id, wake)
  end
end

-- Moves to the due ones whose moment has come or whose claim has ended.
local function refresh_wakes(limit)
  for _, key in ipairs({K.later, K.claimed}) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', NOW, 'LIMIT', 0, limit)) do
      redis.call('ZREM', key, id)
      put_due(id, read_record(K.wakes, id))
    end
  end
end

-- The wake-up that a claim's token belongs to, if the claim is the stored one; it may have ended.
local function find_claimed(token)
  local id = string.match(token, '^([^/]+)/')
  local wake = id and read_record(K.wakes, id)
  if wake and wake.token == token then
    return id, wake
  end
end
