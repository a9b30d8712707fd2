-- Keep a lease alive.
-- KEYS  1 job, 2 events (unused), 3 dispatch
-- ARGV  1 job id, 2 fence, 3 lease ms
-- Answer: 'held' | 'cancelled' (held, and a cancel was asked for) | 'lost'
if not holds(ARGV[2]) then
  return 'lost'
end
local lease = now_ms() + ARGV[3]
redis.call('HSET', KEYS[1], 'lease', lease)
redis.call('ZADD', KEYS[3], lease, ARGV[1])
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then
  return 'cancelled'
end
return 'held'
