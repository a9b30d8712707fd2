-- Note what a budget has paid according to the ledger, unless that is known already.
-- KEYS  1 budget
-- ARGV  1 micros, 2 ttl s
-- Answer: 1 when noted, 0 when it was known
local micros, ttl_s = unpack(ARGV)
if redis.call('HSETNX', KEYS[1], 'known', 1) == 0 then
  return 0
end
-- The version before counted without the mark, and has what the ledger has yet to get.
local counted = tonumber(redis.call('HGET', KEYS[1], 'spent') or 0)
redis.call('HSET', KEYS[1], 'spent', whole(math.max(counted, tonumber(micros))))
redis.call('EXPIRE', KEYS[1], ttl_s)
return 1
