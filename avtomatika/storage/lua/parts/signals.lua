-- Signals to the other engines. The engine that asks hears its own from the answer.
-- keys: engines

local function signal(kind, key, at)
  return {kind, key or '', at or 0, false}
end

local function publish(signals)
  if #signals == 0 then
    return
  end
  local message
  for _, engine in ipairs(redis.call('SMEMBERS', K.engines)) do
    if engine ~= B.origin then
      message = message or cmsgpack.pack(signals)
      if redis.call('PUBLISH', K.engines .. ':' .. engine, message) == 0 then
        -- Nobody listens there any more; an engine that comes back says so again.
        redis.call('SREM', K.engines, engine)
      end
    end
  end
end
