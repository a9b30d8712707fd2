-- Book one request and its tokens, or look at the booking that was made before under the same name.
-- KEYS  1 budget, 2 booking
-- ARGV  1 tokens, 2 ms that the caller can wait, 3 model, 4 unit of work that calls, then for requests and for tokens:
--       units a ms, depth
-- Answer: the ms to wait before this is asked again; 0 when the call may start, which uses the booking up; -1 when
--         others wait in line for the model, whose turn comes first.
--         Nothing is booked that would have to wait longer than the caller can.
local tokens, longest_ms, model, unit = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local bounds = { requests = { rate = ARGV[5], depth = ARGV[6] }, tokens = { rate = ARGV[7], depth = ARGV[8] } }
local now = now_ms()

local function has_turn()
  local turn = LINES .. 'turn:' .. unit
  return redis.call('GET', turn) == model and redis.call('DEL', turn) == 1
end

local function is_waited_for()
  for _, lane in ipairs(redis.call('HKEYS', WAITING)) do
    if string.match(lane, '^%a:%a+:(.*)$') == model then
      return true
    end
  end
  return false
end

local budget, costs = read_budget(bounds, now), { requests = 1, tokens = tokens }
local kept = redis.call('HMGET', KEYS[2], 'requests', 'tokens')
if not kept[1] and not kept[2] and not has_turn() and is_waited_for() then
  return -1
end
local tickets, wait = { requests = tonumber(kept[1]), tokens = tonumber(kept[2]) }, 0
for _, kind in ipairs(KINDS) do
  local own = budget[kind]
  if own.rate > 0 then
    -- A call that is larger than the depth starts when the budget is full, and those behind it wait the longer.
    local ticket = tickets[kind] or own.booked + math.min(costs[kind], own.depth)
    tickets[kind] = ticket
    wait = math.max(wait, own.at - now + (ticket - own.granted) / own.rate)
  end
end
wait = math.ceil(math.max(wait, budget.open_at - now))
if not kept[1] and not kept[2] and wait <= longest_ms then
  for _, kind in ipairs(KINDS) do
    budget[kind].booked = budget[kind].booked + costs[kind]
  end
  write_budget(budget, now)
  if wait > 0 then
    for kind, ticket in pairs(tickets) do
      redis.call('HSET', KEYS[2], kind, string.format('%.6f', ticket))
    end
    redis.call('PEXPIRE', KEYS[2], TICKET_KEPT_MS)
  end
elseif wait == 0 then
  redis.call('DEL', KEYS[2])
end
return wait
