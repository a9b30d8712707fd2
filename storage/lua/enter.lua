-- Put jobs that have become durable into their lines, or among those that wait for their time. One that has begun,
-- ended, or stands there already is left alone, so a repeat changes nothing.
-- KEYS  none
-- ARGV  id of each job and the ms (Unix) when it is to start, or 0
-- Answer: {how many have to be woken by messages, the place of the last one as place.lua gives it or nil}
local now, entered = now_ms(), 0

for i = 1, #ARGV, 2 do
  local job_id, run_at = ARGV[i], tonumber(ARGV[i + 1])
  turn_to(job_id)
  local state = redis.call('HMGET', KEYS[1], 'status', 'started', 'queued')
  if state[1] == 'queued' and not state[2] and not state[3] then
    if not is_cancelled() then
      redis.call('ZREM', WATCH, job_id)
    end
    entered = entered + enter_new(job_id, run_at, now)
  end
end
local last = ARGV[#ARGV - 1]
return { wake(entered), place_of(last) }
