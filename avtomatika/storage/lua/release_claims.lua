-- Gives claims back: due at once, in their old places, and not counted.
-- parts: numbers wakes signals

local signals = {}
for _, token in ipairs(B.tokens) do
  local id, wake = find_claimed(token)
  if id then
    withdraw_wake(id, wake)
    wake.token, wake.owner, wake.ends = nil, nil, nil
    wake.deliveries = wake.deliveries - 1
    wake.at = math.min(wake.at, NOW)
    put_due(id, wake)
    signals[#signals + 1] = signal('ready', '', wake.at)
  end
end
publish(signals)
return cmsgpack.pack({false, signals})
