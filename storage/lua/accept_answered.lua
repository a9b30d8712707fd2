-- Take in a job that is answered already: its whole log, its end and the entry for its record at once. It used nothing.
-- Nothing is published, for nobody can know of the job yet.
-- KEYS  1 job, 2 events, 3 records, 4 idempotency (any key where there is no body hash)
-- ARGV  1 job id, 2 spec, 3 question, 4 at (ISO), 5 outcome, 6 hash of the request's body or '',
--       7 idempotency ttl s, 8 when it began and 9 when it ended (ms, Unix), 10 windows (see limits.lua), then type and
--       data of each event; the last is the terminal one, its data without the closing brace
-- Answer: {'accepted', what is left of each window} | {'repeat', job id} | {'conflict'} | {'draining'}
--         | {'limited', window, limit, ms until it has room}
local job_id, spec, question, at, outcome, body_hash, ttl_s, started, finished, window_text = unpack(ARGV, 1, 10)
local first_event, terminal = 11, #ARGV - 1
local terminal_type, terminal_data = ARGV[terminal], ARGV[terminal + 1]
local records, idempotency = KEYS[3], KEYS[4]

local repeated = check_repeat(idempotency, body_hash)
if repeated then
  return repeated
end
if is_draining() then
  return {'draining'}
end
local now, windows = now_ms(), read_windows(window_text)
local full = find_full_window(windows, now)
if full then
  return full
end
redis.call('HSET', KEYS[1], 'spec', spec, 'question', question, 'attempt', 0, 'reserved', 0, 'accepted', started,
  'started', started)
append_pairs(job_id, at, first_event, terminal - 1)
local totals = { input = 0, cached = 0, output = 0, micros = 0 }
write_end(job_id, at, 'completed', outcome, finished, terminal_type, terminal_data, totals)
redis.call('XADD', records, '*', 'id', job_id)
remember_repeat(idempotency, body_hash, job_id, ttl_s)
return {'accepted', unpack(count_in_windows(windows, now))}
