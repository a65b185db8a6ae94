-- The log of changes: a stream whose ids are milliseconds and a number.
-- keys: changes

local function append_change(raw)
  local at = string.format('%d-*', math.floor(NOW * 1000))
  -- Where the clock has gone back since the last change, the server counts on from there.
  if type(redis.pcall('XADD', K.changes, at, 'c', raw)) == 'table' then
    redis.call('XADD', K.changes, '*', 'c', raw)
  end
end
