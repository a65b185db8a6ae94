-- Messages that leave the engine. What the storage itself changes of one is kept beside its bytes, as facts. It stands
-- in the queue of its topic (mail) or in the list of dead letters (dead).
-- keys: messages message_facts mail dead job_mail

-- All topics share a set whose members are in the order of their bytes: topic, moment, place.
local function mail_member(id, message)
  return sized(message.topic) .. struct.pack('>d', math.max(message.due, 0)) .. struct.pack('>I8', message.seq) .. id
end

-- One set holds two lists, last buried last: all dead letters, and those of a topic.
local function dead_members(id, message)
  local place = struct.pack('>d', math.max(message.buried, 0)) .. id
  return 'a' .. place, 't' .. sized(message.topic) .. place
end

local function withdraw_message(id, message)
  if message.buried then
    redis.call('ZREM', K.dead, dead_members(id, message))
  else
    redis.call('ZREM', K.mail, mail_member(id, message))
  end
end

local function queue_message(id, message)
  redis.call('ZADD', K.mail, 0, mail_member(id, message))
  write_record(K.message_facts, id, message)
end

local function send_messages(job_id, job, rows)
  for _, row in ipairs(rows) do
    local id, raw, message = row[1], row[2], row[3]
    message.seq = next_seq()
    redis.call('HSET', K.messages, id, raw)
    redis.call('ZADD', K.job_mail, 0, sized(job_id) .. id)
    queue_message(id, message)
  end
  job.sent = (job.sent or 0) + #rows
end

local function forget_message(id, message)
  withdraw_message(id, message)
  redis.call('HDEL', K.messages, id)
  redis.call('HDEL', K.message_facts, id)
  redis.call('ZREM', K.job_mail, sized(message.job) .. id)
end

-- Ids of what is left of a job's messages.
local function mail_of(job_id)
  local first, found = sized(job_id), {}
  -- Ids are text, in which the byte 255 does not occur.
  for _, member in ipairs(redis.call('ZRANGEBYLEX', K.job_mail, '[' .. first, '(' .. first .. '\255')) do
    found[#found + 1] = string.sub(member, #first + 1)
  end
  return found
end

-- Bytes and facts of messages, as the caller reads them.
local function read_messages(ids)
  local found = {}
  for _, id in ipairs(ids) do
    found[#found + 1] = {redis.call('HGET', K.messages, id), redis.call('HGET', K.message_facts, id)}
  end
  return found
end

-- The end of the stretch of what is due: bytes that follow those of every place.
local function due_until(topic, moment)
  return '(' .. sized(topic) .. struct.pack('>d', moment) .. '\255\255\255\255\255\255\255\255'
end
