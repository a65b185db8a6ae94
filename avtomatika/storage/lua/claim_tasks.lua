-- Takes the first tasks of some queues, records their starts in the jobs' histories, and counts what still waits if
-- that is asked for. Tells of the jobs as well if it is asked to, of each with the first of its tasks, as far as their
-- data are no larger than the limit; the keys of their fields are made here, as in claim_jobs.
-- parts: numbers tasks jobs outbox signals

local function is_before(one, other)
  if one.priority ~= other.priority then
    return one.priority > other.priority
  elseif one.created ~= other.created then
    return one.created < other.created
  end
  return one.seq < other.seq
end

-- The first of a queue: its id and facts, or nothing.
local function head_of(queue)
  local first = sized(queue)
  local member = redis.call('ZRANGEBYLEX', K.waiting, '[' .. first, '(' .. first .. AFTER, 'LIMIT', 0, 1)[1]
  if member then
    local id = string.sub(member, #first + 25)
    return {id = id, facts = read_record(K.task_facts, id)}
  end
end

local heads = {}
for _, queue in ipairs(B.queues) do
  heads[queue] = head_of(queue)
end

-- The first of all queues that no limit holds up, in its queue's place.
local function next_queue()
  local best
  for _, queue in ipairs(B.queues) do
    local head = heads[queue]
    if head and (not best or is_before(head.facts, heads[best].facts)) and has_room(head.facts) then
      best = queue
    end
  end
  return best
end

-- The facts of the jobs whose tasks are taken, each read and written once.
local owners = {}

local function owner_of(task)
  owners[task.job] = owners[task.job] or read_record(K.facts, task.job)
  return owners[task.job]
end

local function take(id, task)
  withdraw_task(id, task)
  task.status, task.worker, task.confirmed = 'claimed', B.worker, false
  task.claimed_at, task.lease_until = NOW, NOW + math.min(B.lease, task.timeout)
  task.deliveries = task.deliveries + 1
  hold_task(id, task)
  local job = owner_of(task)
  -- The one row that is made here: what storage/rows.py encodes, with the first fields of RecordHistory.
  local started = {'task_started', job.state, B.worker, task.attempt, id}
  append_rows(task.job, job, cmsgpack.pack({job.blueprint, NOW, {started}}), 1)
end

local taken, jobs, ends = {}, {}, nil
while #taken < B.limit do
  local queue = next_queue()
  if not queue then
    break
  end
  local head = heads[queue]
  take(head.id, head.facts)
  taken[#taken + 1] = head.id
  jobs[#taken] = head.facts.job
  ends = math.min(ends or head.facts.lease_until, head.facts.lease_until)
  if #taken < B.limit then
    heads[queue] = head_of(queue)
  end
end

for id, job in pairs(owners) do
  settle(id, job)
  write_record(K.facts, id, job)
end

local left = 0
if B.counts then
  for _, queue in ipairs(B.queues) do
    local first = sized(queue)
    left = left + redis.call('ZLEXCOUNT', K.waiting, '[' .. first, '(' .. first .. AFTER)
  end
end
local signals = {}
if ends then
  signals = {signal('timer', '', ends), signal('event')}
  publish(signals)
end
local found = read_tasks(taken)
if B.job_limit > 0 then
  local is_told = {}
  for place, job_id in ipairs(jobs) do
    local key, fields = B.job_prefix .. job_id, {}
    if not is_told[job_id] then
      is_told[job_id] = true
      local size = redis.call('HSTRLEN', key, 'initial_data') + redis.call('HSTRLEN', key, 'state_history')
      fields = size <= B.job_limit and redis.call('HGETALL', key) or {}
    end
    found[place][3] = fields
  end
end
return cmsgpack.pack({{found, left}, signals})
