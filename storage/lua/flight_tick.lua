-- Go on leading, and take over claims of those who have lined up.
-- KEYS  1 flight, 2 waiting
-- ARGV  1 token of the leader, 2 ms that it may be silent, 3 most claims to take
-- Answer: the claims, oldest first; none for who does not lead any more
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {}
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local claims = redis.call('LRANGE', KEYS[2], 0, ARGV[3] - 1)
if #claims > 0 then
  redis.call('LTRIM', KEYS[2], #claims, -1)
end
return claims
