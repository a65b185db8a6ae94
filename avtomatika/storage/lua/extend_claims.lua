-- Moves the ends of claims; answers with the tokens of those that are lost.
-- parts: numbers wakes signals

local ends = NOW + B.lease
local lost = {}
for _, token in ipairs(B.tokens) do
  local id, wake = find_claimed(token)
  if id then
    withdraw_wake(id, wake)
    wake.ends = ends
    put_claimed(id, wake)
  else
    lost[#lost + 1] = token
  end
end

local signals = {}
if #lost < #B.tokens then
  signals[1] = signal('timer', '', ends)
end
publish(signals)
return cmsgpack.pack({lost, signals})
