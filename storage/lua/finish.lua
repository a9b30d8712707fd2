-- End a job, exactly once: last events, outcome, totals, settlement, terminal event, entry for the record. The totals
-- are the job's account and what the caller's own calls used; nobody else adds them up.
-- KEYS  1 job, 2 events, 3 active, 4 budget of its user's month, 5 records, 6 the user's windows
-- ARGV  1 job id, 2 slot, 3 fence, 4 at (ISO), 5 status, 6 outcome, then what the caller's own calls used: 7 input,
--       8 cached input and 9 output tokens, 10 micros, 11 terminal type, 12 terminal data without
--       its closing brace, 13 number and 14 size of the batch that may be here already, then type and data of each event still to append
-- Answer: 1, or 0 when the fence is not the current one (nothing is changed)
local job_id, slot, fence, at, status, outcome, input, cached, output, micros = unpack(ARGV, 1, 10)
local terminal_type, terminal_data, batch, batch_size = unpack(ARGV, 11, 14)
local first_event = 15
local active, user_budget, records, user_windows = unpack(KEYS, 3, 6)

if not holds(slot, fence) then
  return 0
end
local account = redis.call('HMGET', KEYS[1], 'used_input', 'used_cached', 'used_output', 'used_micros',
  'reserved')
local totals = {
  input = tonumber(account[1] or 0) + input,
  cached = tonumber(account[2] or 0) + cached,
  output = tonumber(account[3] or 0) + output,
  micros = tonumber(account[4] or 0) + micros,
}
-- A script that fails keeps what it has written so far, so all that can fail comes before the first change: a key of
-- another type, and a month's sum that has no more room.
check_types({ stream = { KEYS[2], records }, zset = { active, WATCH }, hash = { user_windows } })
settle_in_budgets(budgets_of_job(user_budget), tonumber(account[5] or 0), totals.micros)
count_in_window(user_windows, 'tokens_per_day', whole(totals.input + totals.output), now_ms())
append_after_unsure(job_id, slot, at, batch, batch_size, first_event)
write_end(job_id, at, status, outcome, now_ms(), terminal_type, terminal_data, totals)
close_slots(job_id)
redis.call('HDEL', KEYS[1], 'fence', 'lease', 'cancel')
forget_active(active, job_id)
redis.call('ZREM', WATCH, job_id)
redis.call('ZREM', EXPIRING, job_id)
stop_running(job_id, '', true)
redis.call('XADD', records, '*', 'id', job_id)
publish()
return 1
