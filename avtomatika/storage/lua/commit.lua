-- Applies batches; of each all or nothing. All checks of a batch stand before its first write.
-- parts: numbers jobs wakes tasks outbox messages records changes signals
-- serves: many
-- keys: dedupe dedupe_ends progress timers
-- job keys: job job_tasks job_open job_timers

local signals = {}

local function write_task(row, in_queue)
  local task_id, raw, task = row[1], row[2], row[3]
  local old = read_record(K.task_facts, task_id)
  if old then
    withdraw_task(task_id, old)
    task.seq = old.seq
  else
    task.seq = next_seq()
    redis.call('ZADD', K.job_tasks, task.seq, task_id)
  end
  redis.call(task.open and 'SADD' or 'SREM', K.job_open, task_id)
  redis.call('HSET', K.tasks, task_id, raw)
  if in_queue then
    queue_task(task_id, task)
  else
    write_record(K.task_facts, task_id, task)
  end
end

-- What the batch says of one task in particular comes after what it says of all.
local function write_tasks()
  if B.cancel_open_tasks then
    for _, task_id in ipairs(redis.call('SMEMBERS', K.job_open)) do
      local task = read_record(K.task_facts, task_id)
      withdraw_task(task_id, task)
      task.status, task.open, task.ended_at = 'cancelled', false, B.at
      write_record(K.task_facts, task_id, task)
    end
    redis.call('DEL', K.job_open)
  end
  for _, row in each(B.save_tasks) do
    write_task(row, false)
  end
  for _, row in each(B.queue_tasks) do
    write_task(row, true)
  end
end

local function clear_timer(key)
  local member = redis.call('HGET', K.job_timers, key)
  if member then
    redis.call('ZREM', K.timers, member)
    redis.call('HDEL', K.job_timers, key)
  end
end

local function write_timers()
  if B.finish then
    for _, member in ipairs(redis.call('HVALS', K.job_timers)) do
      redis.call('ZREM', K.timers, member)
    end
    redis.call('DEL', K.job_timers)
    return
  end
  if B.cancel_open_tasks then
    for _, key in ipairs(redis.call('HKEYS', K.job_timers)) do
      if cmsgpack.unpack(key)[2] ~= '' then
        clear_timer(key)
      end
    end
  end
  for _, key in each(B.clear_timers) do
    clear_timer(key)
  end
  for _, timer in each(B.set_timers) do
    local key, member, at = timer[1], timer[2], timer[3]
    clear_timer(key)
    redis.call('HSET', K.job_timers, key, member)
    redis.call('ZADD', K.timers, at, member)
  end
end

local function write_wake(id, wake)
  if B.finish then
    forget_wake(id, wake)
  elseif B.claim and B.keep_claim then
    if B.ready then
      renew_wake(id, wake, B.ready)
    end
  elseif B.ready then
    -- What the step itself calls now is due, even if the clock that it read is a little ahead of this one.
    put_wake(id, wake, B.ready, math.max(NOW, B.at), B.hold)
  elseif B.claim then
    forget_wake(id, wake)
  end
end

local function write_fields()
  local fields = {}
  for name, raw in pairs(B.fields) do
    fields[#fields + 1] = name
    fields[#fields + 1] = raw
  end
  redis.call('HSET', K.job, unpack(fields))
end

local function create(id)
  local facts = B.created
  facts.status, facts.rows, facts.acked = B.status, 0, 0
  write_index(id, facts)
  count(facts.status, 1)
  count('created', 1)
  if B.dedupe then
    prune_records(K.dedupe, K.dedupe_ends, 10)
    write_record(K.dedupe, B.dedupe.key, {job = id, fingerprint = B.dedupe.fingerprint, ends = NOW + B.dedupe.ttl})
    redis.call('ZADD', K.dedupe_ends, NOW + B.dedupe.ttl, B.dedupe.key)
  end
  return facts
end

local function change_status(id, facts)
  clear_index(id, facts)
  count(facts.status, -1)
  facts.status = B.status
  write_index(id, facts)
  count(facts.status, 1)
end

local function are_held(claims)
  for _, claim in each(claims) do
    if not is_held(read_record(K.task_facts, claim.id), claim) then
      return false
    end
  end
  return true
end

local function apply()
  local id = B.id
  local facts = read_record(K.facts, id)
  local stored = facts and facts.version or 0
  -- Sent again because the answer was lost: it is applied already.
  if facts and stored == B.version and facts.last == B.call then
    return {'committed'}
  end
  if B.dedupe then
    local first = read_record(K.dedupe, B.dedupe.key)
    if first and first.ends > NOW then
      return {'duplicate', first.job, first.fingerprint}
    end
  end
  local wake = read_record(K.wakes, id)
  local is_current = B.version == stored + 1
    and (not B.claim or (wake and wake.token == B.claim))
    and (not B.records or are_expected(B.records))
    and are_held(B.task_claims)
  if not is_current then
    return {'stale', stored}
  end

  write_fields()
  if not facts then
    facts = create(id)
  elseif facts.status ~= B.status then
    change_status(id, facts)
  end
  local had_ended = facts.ended
  facts.version, facts.last, facts.state, facts.ended = B.version, B.call, B.state, B.ended
  write_tasks()
  write_timers()
  if B.finish then
    redis.call('HDEL', K.progress, id)
  end
  if B.rows then
    append_rows(id, facts, B.rows, B.row_count)
  end
  if B.messages then
    send_messages(id, facts, B.messages)
  end
  if B.records then
    put_all_kept(B.records)
  end
  write_wake(id, wake)
  if had_ended or facts.ended then
    settle(id, facts)
  end
  write_record(K.facts, id, facts)
  append_change(B.change)
  for _, told in ipairs(B.signals) do
    signals[#signals + 1] = told
  end
  return {'committed'}
end

local answers = {}
for place, packed in ipairs(ARGV) do
  B = cmsgpack.unpack(packed)
  NOW = B.now or NOW
  local first = SHARED_KEYS + 4 * (place - 1)
  K.job, K.job_tasks, K.job_open, K.job_timers = unpack(KEYS, first + 1, first + 4)
  answers[place] = apply()
end
publish(signals)
return cmsgpack.pack(answers)
