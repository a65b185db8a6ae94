-- Moves the moment of a message that waits.
-- parts: numbers messages signals

local message = read_record(K.message_facts, B.id)
local signals = {}
if message and not message.buried then
  withdraw_message(B.id, message)
  message.due, message.error = B.at, B.error
  queue_message(B.id, message)
  signals[1] = signal('message', message.topic, B.at)
end
publish(signals)
return cmsgpack.pack({false, signals})
