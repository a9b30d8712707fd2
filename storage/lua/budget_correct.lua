-- Correct a booking by what its call used and by what the provider said.
-- KEYS  1 budget
-- ARGV  1 tokens booked but not used, 2 ms for which nobody may start, then for requests and for tokens: units a ms,
--       depth; then for each what the provider has left, or '' where it did not say
-- Answer: nothing
local unused, pause_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local bounds = { requests = { rate = ARGV[3], depth = ARGV[4] }, tokens = { rate = ARGV[5], depth = ARGV[6] } }
local left = { requests = tonumber(ARGV[7]), tokens = tonumber(ARGV[8]) }
local now = now_ms()

local budget = read_budget(bounds, now)
budget.tokens.granted = math.min(budget.tokens.granted + unused, budget.tokens.booked + budget.tokens.depth)
for _, kind in ipairs(KINDS) do
  local own = budget[kind]
  if left[kind] then
    own.granted = math.min(own.granted, own.booked + left[kind])
  end
end
if pause_ms > 0 then
  budget.open_at = math.max(budget.open_at, now + pause_ms)
  for _, kind in ipairs(KINDS) do
    -- Nothing is granted while it is closed, so that those who wait do not start all at once when it opens.
    budget[kind].at = math.max(budget[kind].at, budget.open_at)
  end
end
write_budget(budget, now)
