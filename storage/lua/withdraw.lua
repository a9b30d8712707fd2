-- Forget a job that never became durable; does nothing once a worker has begun it. What stays for a day is the mark
-- 'withdrawn', so that a record which was written after all is not brought back.
-- KEYS  1 job, 2 events, 3 active, 4 budget of its user's month, 5 idempotency (the job's key where it had none)
-- ARGV  1 job id
-- Answer: 1 when forgotten, else 0
local job_id = ARGV[1]
local active, user_budget, idempotency = KEYS[3], KEYS[4], KEYS[5]

local state = redis.call('HMGET', KEYS[1], 'status', 'started', 'reserved')
if state[1] ~= 'queued' or state[2] then
  return 0
end
hold_in_budgets(budgets_of_job(user_budget), 0 - tonumber(state[3]))
forget_active(active, job_id)
redis.call('ZREM', WATCH, job_id)
redis.call('ZREM', EXPIRING, job_id)
leave_line(job_id, '')
stop_running(job_id, '', true)
redis.call('DEL', KEYS[1], KEYS[2], idempotency)
redis.call('HSET', KEYS[1], 'withdrawn', 1)
redis.call('EXPIRE', KEYS[1], 24 * 3600)
return 1
