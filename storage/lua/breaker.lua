-- Count calls to a model in a window and say whether it may be called.
-- KEYS  1 breaker
-- ARGV  1 successes, 2 failures since the last call, 3 window ms, 4 fewest calls, 5 share of failures
--       that opens, 6 ms it stays open, 7 ms a probe may take
-- Answer: 'closed' | 'open' | 'probe' (half open, and this caller is the one to try)
local new_ok, new_failed, window_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local fewest_calls, opening_share = tonumber(ARGV[4]), tonumber(ARGV[5])
local open_ms, probe_ms = ARGV[6], ARGV[7]
local now = now_ms()

local state = redis.call('HMGET', KEYS[1], 'start', 'ok', 'failed', 'open_until', 'probe_until')
local start, ok, failed = tonumber(state[1] or 0), tonumber(state[2] or 0), tonumber(state[3] or 0)
local open_until, probe_until = tonumber(state[4] or 0), tonumber(state[5] or 0)

if open_until > 0 then
  if new_ok > 0 and now >= open_until then
    redis.call('DEL', KEYS[1])
    return 'closed'
  end
  if new_failed > 0 and now >= open_until then
    redis.call('HSET', KEYS[1], 'open_until', now + open_ms, 'probe_until', 0)
    return 'open'
  end
  if now >= open_until and now >= probe_until and new_ok + new_failed == 0 then
    redis.call('HSET', KEYS[1], 'probe_until', now + probe_ms)
    return 'probe'
  end
  return 'open'
end

if now - start > window_ms then
  start, ok, failed = now, 0, 0
end
ok, failed = ok + new_ok, failed + new_failed
redis.call('HSET', KEYS[1], 'start', start, 'ok', ok, 'failed', failed)
redis.call('PEXPIRE', KEYS[1], window_ms + 10 * open_ms)
if failed > 0 and ok + failed >= fewest_calls and failed >= opening_share * (ok + failed) then
  redis.call('HSET', KEYS[1], 'open_until', now + open_ms, 'probe_until', 0)
  return 'open'
end
return 'closed'
