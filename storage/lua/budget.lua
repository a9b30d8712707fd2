-- Shared by the scripts of the upstream budget, which are loaded with this text in front. KEYS[1] is a model's budget.
-- It counts, for requests and for tokens, what was ever granted and what was ever booked. What is granted grows with
-- time, to at most a depth above what is booked. A booking is a ticket, the count at which it may start: whoever comes
-- later has a higher one, and what one call gives back brings all who wait forward, in the same order.

local KINDS = { 'requests', 'tokens' }
-- A ticket outlives every deadline, and no budget is forgotten before its tickets.
local TICKET_KEPT_MS = 300000

-- Read the budget as of now. The bounds are, for each kind, the units granted a ms (0: no bound) and the depth.
local function read_budget(bounds, now)
  local budget = { open_at = tonumber(redis.call('HGET', KEYS[1], 'open_at') or 0) }
  for _, kind in ipairs(KINDS) do
    local state = redis.call('HMGET', KEYS[1], kind .. ':granted', kind .. ':booked', kind .. ':at')
    local rate, depth = tonumber(bounds[kind].rate), tonumber(bounds[kind].depth)
    local booked, at = tonumber(state[2] or 0), tonumber(state[3] or now)
    local granted = tonumber(state[1] or depth) + math.max(0, now - at) * rate
    budget[kind] = {
      granted = math.min(granted, booked + depth), booked = booked, at = math.max(now, at), rate = rate, depth = depth,
    }
  end
  return budget
end

-- Keep the budget until it is full again, which is what a missing one stands for, and no ticket is left.
local function write_budget(budget, now)
  local full_at = budget.open_at
  redis.call('HSET', KEYS[1], 'open_at', budget.open_at)
  for _, kind in ipairs(KINDS) do
    local own = budget[kind]
    if own.rate > 0 then
      redis.call('HSET', KEYS[1], kind .. ':granted', string.format('%.6f', own.granted),
        kind .. ':booked', string.format('%.6f', own.booked), kind .. ':at', own.at)
      full_at = math.max(full_at, own.at + (own.booked + own.depth - own.granted) / own.rate)
    end
  end
  redis.call('PEXPIRE', KEYS[1], math.ceil(math.max(0, full_at - now)) + TICKET_KEPT_MS)
end
