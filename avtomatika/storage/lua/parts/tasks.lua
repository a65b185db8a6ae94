-- Tasks. What the storage itself changes of a task is kept beside its bytes, as facts. A task waits in its queue
-- (waiting, and ages), is claimed (leases, and held), or is in neither.
-- keys: tasks task_facts waiting ages leases held running

-- All queues share a set whose members are in the order of their bytes: queue, priority and age, first place.
local function waiting_member(id, facts)
  return sized(facts.queue) .. facts.rank .. struct.pack('>I8', facts.seq) .. id
end

local function age_member(id, facts)
  return sized(facts.queue) .. string.sub(facts.rank, 9) .. id
end

local function held_member(id, facts)
  return sized(facts.worker) .. id
end

-- Counts a task that is claimed from now on (1), or not any more (-1), under the names of its limits.
local function count_running(facts, change)
  for _, limit in ipairs(facts.limits or {}) do
    if redis.call('HINCRBY', K.running, limit[1], change) <= 0 then
      redis.call('HDEL', K.running, limit[1])
    end
  end
end

local function has_room(facts)
  for _, limit in ipairs(facts.limits or {}) do
    if tonumber(redis.call('HGET', K.running, limit[1]) or 0) >= limit[2] then
      return false
    end
  end
  return true
end

local function withdraw_task(id, facts)
  if facts.place == 'waiting' then
    redis.call('ZREM', K.waiting, waiting_member(id, facts))
    redis.call('ZREM', K.ages, age_member(id, facts))
  elseif facts.place == 'leased' then
    redis.call('ZREM', K.leases, id)
    redis.call('ZREM', K.held, held_member(id, facts))
    count_running(facts, -1)
  end
  facts.place = nil
end

local function queue_task(id, facts)
  facts.place = 'waiting'
  redis.call('ZADD', K.waiting, 0, waiting_member(id, facts))
  redis.call('ZADD', K.ages, 0, age_member(id, facts))
  write_record(K.task_facts, id, facts)
end

local function hold_task(id, facts)
  facts.place = 'leased'
  redis.call('ZADD', K.leases, facts.lease_until, id)
  redis.call('ZADD', K.held, 0, held_member(id, facts))
  count_running(facts, 1)
  write_record(K.task_facts, id, facts)
end

-- Whether a task was last claimed so, and has neither ended nor been taken over.
local function is_held(facts, claim)
  return facts and facts.open and facts.attempt == claim.attempt and facts.worker == claim.worker
end

-- Bytes and facts of tasks, as the caller reads them.
local function read_tasks(ids)
  local found = {}
  for _, id in ipairs(ids) do
    local raw, facts = redis.call('HGET', K.tasks, id), redis.call('HGET', K.task_facts, id)
    if raw and facts then
      found[#found + 1] = {raw, facts}
    end
  end
  return found
end

-- The last bytes that a member may begin with after its queue or other first part: a number is never all ones.
local AFTER = '\255\255\255\255\255\255\255\255'
