-- Correct a booking by what its call used and by what the provider said.
-- KEYS  1 budget
-- ARGV  1 tokens booked but not used, 2 ms for which nobody may start, then for requests and for tokens: units a ms,
--       depth; then for each what the provider has left, or '' where it did not say
-- Answer: nothing
local now = now_ms()
local budget = read_budget(3, now)
budget.tokens.granted = math.min(budget.tokens.granted + ARGV[1], budget.tokens.booked + budget.tokens.depth)
for number, kind in ipairs(KINDS) do
  local left, own = tonumber(ARGV[6 + number]), budget[kind]
  if left then
    own.granted = math.min(own.granted, own.booked + left)
  end
end
local pause = tonumber(ARGV[2])
if pause > 0 then
  budget.open_at = math.max(budget.open_at, now + pause)
  for _, kind in ipairs(KINDS) do
    -- Nothing is granted while it is closed, so that those who wait do not start all at once when it opens.
    budget[kind].at = math.max(budget[kind].at, budget.open_at)
  end
end
write_budget(budget, now)
