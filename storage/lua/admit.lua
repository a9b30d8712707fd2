-- Say early whether a user may submit anything at all, before any work on what he asks; accept.lua decides.
-- KEYS  1 active, 2 idempotency (any key where there is no body hash), 3 what was learned of the user's answers
-- ARGV  1 model calls at a time of the job, 2 unfinished ones allowed, 3 windows (see limits.lua), 4 budgets (see
--       money.lua), 5 '1' where the request has an idempotency key, then the models whose answers may be asked for
-- Answer: {'admitted', what was learned of each model or nil} | {'too_many'}
--         | {'limited', window, limit, ms until it has room} | {'over_budget', number of the budget}
local active, idempotency, learned = KEYS[1], KEYS[2], KEYS[3]
local units, most_units, window_text, budget_text, has_idempotency = unpack(ARGV, 1, 5)
local models = { unpack(ARGV, 6) }

-- A repeat is answered with the first job, whatever the limits are.
local is_repeat = has_idempotency == '1' and redis.call('EXISTS', idempotency) == 1
if not is_repeat then
  if not has_units_left(active, tonumber(units), tonumber(most_units)) then
    return {'too_many'}
  end
  local full = find_full_window(read_windows(window_text), now_ms())
  if full then
    return full
  end
  for i, budget in ipairs(read_budgets(budget_text)) do
    if tonumber(redis.call('HGET', budget.key, 'spent') or 0) >= budget.limit then
      return {'over_budget', i}
    end
  end
end
return {'admitted', unpack(redis.call('HMGET', learned, unpack(models)))}
