-- What a job's budgets hold and have paid. A job stands on every budget that pays for it: its user's month, and where
-- they have one its API key's month and the deployment's day and month. The job's hash lists them in `budgets`, a line
-- '<limit in micros> <key>' each; `reserved` is what they hold for it. A budget is a hash: reserved, spent, and `known`
-- once `spent` is known to be all that was paid.

-- Longer than a month's jobs can take to end.
local BUDGETS_KEPT_S = 5356800
-- Just below the largest whole number of Redis.
local MOST_SUM = 9.2e18

local function read_budgets(text)
  local budgets = {}
  for limit, key in string.gmatch(text or '', '(%d+) (%S+)') do
    budgets[#budgets + 1] = { limit = tonumber(limit), key = key }
  end
  return budgets
end

-- Return the budgets of the job; the version before kept only the key of its user's month, which the caller names.
local function budgets_of_job(user_budget)
  local text = redis.call('HGET', KEYS[1], 'budgets')
  return text and read_budgets(text) or { { limit = math.huge, key = user_budget } }
end

-- Return the number of the first budget whose payments are not known, nil where all are.
local function find_unknown(budgets)
  for i, budget in ipairs(budgets) do
    if redis.call('HEXISTS', budget.key, 'known') == 0 then
      return i
    end
  end
  return nil
end

-- Return what the budgets can hold for a job that costs `least` at least and `expected` most likely; where one cannot,
-- nil and the answer that says so: {'over_budget', its number} has too little left whatever the unfinished jobs come to,
-- {'budget_busy', its number} may have enough when they have ended.
local function find_room(budgets, least, expected)
  local room = expected
  for i, budget in ipairs(budgets) do
    local sums = redis.call('HMGET', budget.key, 'spent', 'reserved')
    local unspent, reserved = budget.limit - tonumber(sums[1] or 0), tonumber(sums[2] or 0)
    if unspent < least or unspent <= 0 then
      return nil, { 'over_budget', i }
    end
    if unspent - reserved < expected and reserved > 0 then
      return nil, { 'budget_busy', i }
    end
    room = math.min(room, unspent)
  end
  return room, nil
end

local function hold_in_budgets(budgets, micros)
  for _, budget in ipairs(budgets) do
    redis.call('HINCRBY', budget.key, 'reserved', whole(micros))
    redis.call('EXPIRE', budget.key, BUDGETS_KEPT_S)
  end
end

-- Pay for a job that ends and let go of what was held for it. What can fail, a sum without more room, fails before the
-- first change.
local function settle_in_budgets(budgets, reserved, micros)
  for _, budget in ipairs(budgets) do
    if tonumber(redis.call('HGET', budget.key, 'spent') or 0) + micros > MOST_SUM then
      error('the sum of ' .. budget.key .. ' has no more room')
    end
  end
  for _, budget in ipairs(budgets) do
    redis.call('HINCRBY', budget.key, 'spent', whole(micros))
    redis.call('HINCRBY', budget.key, 'reserved', whole(0 - reserved))
  end
end

-- Hold so much for the job in all that the slot has `wanted` (micros), of which it has `granted` before any was added.
-- With a limit of its own the job holds no more than that. A repeat changes nothing. Return 'held', 'busy' where other
-- unfinished jobs hold what is left, or 'gone'.
local function top_up(slot, wanted, granted, most, user_budget)
  local held = tonumber(redis.call('HGET', KEYS[1], field(slot, 'granted')) or granted)
  local more = tonumber(wanted) - held
  if more <= 0 then
    return 'held'
  end
  local reserved, budgets = tonumber(redis.call('HGET', KEYS[1], 'reserved')), budgets_of_job(user_budget)
  if most ~= '' and reserved + more > tonumber(most) then
    return 'gone'
  end
  for _, budget in ipairs(budgets) do
    local sums = redis.call('HMGET', budget.key, 'spent', 'reserved')
    local unspent, of_all = budget.limit - tonumber(sums[1] or 0), tonumber(sums[2] or 0)
    if of_all + more > unspent then
      return reserved + more > unspent and 'gone' or 'busy'
    end
  end
  hold_in_budgets(budgets, more)
  redis.call('HINCRBY', KEYS[1], 'reserved', whole(more))
  redis.call('HSET', KEYS[1], field(slot, 'granted'), whole(held + more))
  return 'held'
end
