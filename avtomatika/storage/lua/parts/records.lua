-- What is kept beside the jobs: values with versions, some of them for a time.
-- keys: records record_names record_ends

local function find_kept(name)
  local kept = read_record(K.records, name)
  if kept and (not kept.ends or kept.ends > NOW) then
    return kept
  end
end

local function forget_kept(name)
  redis.call('HDEL', K.records, name)
  redis.call('ZREM', K.record_names, name)
  redis.call('ZREM', K.record_ends, name)
end

local function is_expected(write)
  local kept = write.expected and find_kept(write.name)
  return not write.expected or write.expected == (kept and kept.version or 0)
end

local function are_expected(writes)
  for _, write in ipairs(writes) do
    if not is_expected(write) then
      return false
    end
  end
  return true
end

local function put_kept(write)
  local old = find_kept(write.name)
  forget_kept(write.name)
  if write.value then
    local kept = {value = write.value, version = (old and old.version or 0) + 1}
    if write.ttl then
      kept.ends = NOW + write.ttl
      redis.call('ZADD', K.record_ends, kept.ends, write.name)
    end
    write_record(K.records, write.name, kept)
    redis.call('ZADD', K.record_names, 0, write.name)
  end
  prune(K.record_ends, 10, forget_kept)
end

local function put_all_kept(writes)
  for _, write in ipairs(writes) do
    put_kept(write)
  end
end
