-- Takes the first task of some queues, and records its start in the job's history.
-- parts: numbers tasks jobs outbox signals

local function is_before(one, other)
  if one.priority ~= other.priority then
    return one.priority > other.priority
  elseif one.created ~= other.created then
    return one.created < other.created
  end
  return one.seq < other.seq
end

local task_id, task
for _, queue in ipairs(B.queues) do
  local first = sized(queue)
  local head = redis.call('ZRANGEBYLEX', K.waiting, '[' .. first, '(' .. first .. AFTER, 'LIMIT', 0, 1)[1]
  if head then
    local id = string.sub(head, #first + 25)
    local facts = read_record(K.task_facts, id)
    if (not task or is_before(facts, task)) and has_room(facts) then
      task_id, task = id, facts
    end
  end
end
if not task then
  return cmsgpack.pack({false, {}})
end

withdraw_task(task_id, task)
task.status, task.worker, task.confirmed = 'claimed', B.worker, false
task.claimed_at, task.lease_until = NOW, NOW + math.min(B.lease, task.timeout)
task.deliveries = task.deliveries + 1
hold_task(task_id, task)

local job = read_record(K.facts, task.job)
-- The one row that is made here: what storage/rows.py encodes, with the first fields of RecordHistory.
local started = {'task_started', job.state, B.worker, task.attempt, task_id}
append_rows(task.job, job, cmsgpack.pack({job.blueprint, NOW, {started}}), 1)
settle(task.job, job)
write_record(K.facts, task.job, job)

local signals = {signal('timer', '', task.lease_until), signal('event')}
publish(signals)
return cmsgpack.pack({read_tasks({task_id})[1], signals})
