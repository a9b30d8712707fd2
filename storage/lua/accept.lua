-- Take a job in, or say why not; nothing is stored unless the answer is 'accepted'. It stands in no line before it is
-- durable: see enter.lua.
-- KEYS  1 job, 2 events, 3 active, 4 idempotency (any key where there is no body hash)
-- ARGV  1 job id, 2 spec, 3 question, 4 at (ISO), 5 micros that it most likely costs and 6 that it costs at least,
--       7 budgets (see money.lua), 8 its model calls at a time, 9 unfinished ones allowed, 10 windows (see limits.lua),
--       11 ms until the sweeper looks for its record, 12 hash of the request's body or '', 13 idempotency ttl s,
--       14 data of job.queued, 15 its line, 16 ms that it may take from its start, 17 ms (Unix) when it is given up
--       unless it has begun, or ''
-- Answer: {'accepted', what is left of each window} | {'repeat', job id} | {'conflict'} | {'draining'} | {'too_many'}
--         | {'limited', window, limit, ms until it has room} | {'unknown'} (what a budget has paid is not known)
--         | {'over_budget' or 'budget_busy', number of the budget}
local job_id, spec, question, at, expected, least, budget_text, units, most_units, window_text = unpack(ARGV, 1, 10)
local look_in_ms, body_hash, ttl_s, queued, line, allowed, expires = unpack(ARGV, 11, 17)
local active, idempotency = KEYS[3], KEYS[4]

local repeated = check_repeat(idempotency, body_hash)
if repeated then
  return repeated
end
if is_draining() then
  return {'draining'}
end
if not has_units_left(active, tonumber(units), tonumber(most_units)) then
  return {'too_many'}
end
local now, windows, budgets = now_ms(), read_windows(window_text), read_budgets(budget_text)
local full = find_full_window(windows, now)
if full then
  return full
end
if find_unknown(budgets) then
  return {'unknown'}
end
local held, refusal = find_room(budgets, tonumber(least), tonumber(expected))
if not held then
  return refusal
end

write_new(job_id, spec, question, whole(held), now, line, allowed, expires)
redis.call('HSET', KEYS[1], 'budgets', budget_text, 'held', whole(held), 'units', units)
append_event(job_id, 'job.queued', at, queued)
count_as_active(active, job_id, units, now)
hold_in_budgets(budgets, held)
redis.call('ZADD', WATCH, now + look_in_ms, job_id)
remember_repeat(idempotency, body_hash, job_id, ttl_s)
publish()
return {'accepted', unpack(count_in_windows(windows, now))}
