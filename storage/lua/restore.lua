-- Bring back an accepted, unfinished job from its durable record after Redis lost it, and put it into its line.
-- KEYS  1 job, 2 events, 3 active
-- ARGV  1 job id, 2 spec, 3 question, 4 at (ISO), 5 reservation in micros, 6 data of job.queued, 7 its line, 8 ms that
--       it may take from its start, 9 ms (Unix) when it is given up unless it has begun, or '', 10 ms (Unix) when it
--       is to start, or 0, 11 ms (Unix) when it was taken in first, 12 budgets
--       (see money.lua), 13 its model calls at a time
-- Answer: 'restored' | 'present' (the job is here after all) | 'withdrawn' (it was given up before its 202)
--         | 'unknown' (what a budget has paid is not known; nothing is changed)
local job_id, spec, question, at, reserved, queued, line, allowed, expires, run_at, created = unpack(ARGV, 1, 11)
local budget_text, units = unpack(ARGV, 12, 13)
local active, now, budgets = KEYS[3], now_ms(), read_budgets(budget_text)

local state = redis.call('HMGET', KEYS[1], 'status', 'withdrawn')
if state[2] then
  return 'withdrawn'
end
if state[1] then
  return 'present'
end
if find_unknown(budgets) then
  return 'unknown'
end
-- What can fail comes first.
hold_in_budgets(budgets, tonumber(reserved))
write_new(job_id, spec, question, reserved, tonumber(created), line, allowed, expires)
redis.call('HSET', KEYS[1], 'budgets', budget_text, 'held', reserved, 'units', units)
append_event(job_id, 'job.queued', at, queued)
count_as_active(active, job_id, units, now)
enter_new(job_id, tonumber(run_at), now)
publish()
return 'restored'
