-- All that is stored for one job, at one moment: for the audit.
-- parts: numbers wakes tasks messages
-- keys: facts outbox events timers progress
-- job keys: job job_open job_timers

local id = B.id
local facts = read_record(K.facts, id)
if not facts then
  return cmsgpack.pack({false, {}})
end

local wake = read_record(K.wakes, id)
local wake_ups = 0
for _, place in ipairs({{K.later, id}, {K.claimed, id}, wake and {K.due, due_member(id, wake)}}) do
  if redis.call('ZSCORE', place[1], place[2]) then
    wake_ups = wake_ups + 1
  end
end

local timers = 0
for _, member in ipairs(redis.call('HVALS', K.job_timers)) do
  if redis.call('ZSCORE', K.timers, member) then
    timers = timers + 1
  end
end

local open = redis.call('SMEMBERS', K.job_open)
local unreachable = {}
for _, task_id in ipairs(open) do
  local task = read_record(K.task_facts, task_id)
  if not task
    or (task.status == 'queued' and not redis.call('ZSCORE', K.waiting, waiting_member(task_id, task)))
    or (task.status == 'claimed' and not redis.call('ZSCORE', K.leases, task_id)) then
    unreachable[#unreachable + 1] = task_id
  end
end

local waiting_rows, row = {}, 1
while row <= facts.rows do
  local name = id .. ':' .. row
  local stored = redis.call('ZSCORE', K.outbox, name) and redis.call('HGET', K.events, name)
  local number = stored and struct.unpack('>I4', stored) or 1
  for waiting = row, stored and row + number - 1 or 0 do
    waiting_rows[#waiting_rows + 1] = waiting
  end
  row = row + number
end

local mail, dead = 0, 0
for _, message_id in ipairs(mail_of(id)) do
  local message = read_record(K.message_facts, message_id)
  if message and redis.call('HEXISTS', K.messages, message_id) == 1 then
    if not message.buried and redis.call('ZSCORE', K.mail, mail_member(message_id, message)) then
      mail = mail + 1
    elseif message.buried and redis.call('ZSCORE', K.dead, (dead_members(message_id, message))) then
      dead = dead + 1
    end
  end
end

return cmsgpack.pack({{
  redis.call('HGETALL', K.job), wake_ups, timers, read_tasks(open), unreachable,
  facts.rows, facts.acked, waiting_rows, redis.call('HEXISTS', K.progress, id) == 1,
  {facts.sent or 0, facts.delivered or 0, mail, dead},
}, {}})
