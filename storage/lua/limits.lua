-- What a user, an API key or an address may do in a while: moving windows, each counted in parts. A part counts until the whole of
-- it is outside of the window, so that no span of the window's length ever has more than the limit.
--
-- The windows of one owner are a hash, `aether:{s}:rates:…`; its fields begin with the window's name:
--   <window>:<n>   what was counted in the part whose number is n modulo the ring's length
--   <window>:at    the number of the latest part
--   <window>:sum   all parts together

-- Each window's length in ms, and its parts.
local WINDOWS = {
  requests_per_minute = { span = 60000, parts = 12 },
  requests_per_day = { span = 86400000, parts = 24 },
  tokens_per_day = { span = 86400000, parts = 24 },
  bytes_per_hour = { span = 3600000, parts = 12 },
  sign_ups = { span = 60000, parts = 12 },
  failed_logins = { span = 900000, parts = 15 },
}
-- Longer than any window and its last part.
local WINDOWS_KEPT_S = 93600

local function part_of(window, now)
  return math.floor(now / (window.span / window.parts))
end

-- Return what a window has counted, and the number of its part that is now; parts that are over are taken out.
local function sum_of(owner, name, now)
  local window, state = WINDOWS[name], redis.call('HMGET', owner, name .. ':at', name .. ':sum')
  local part, at, sum = part_of(window, now), tonumber(state[1]), tonumber(state[2] or 0)
  local ring = window.parts + 1
  if not at or part <= at then
    -- A clock that was set back goes on in the latest part.
    return sum, at or part
  end
  for old = at + 1, math.min(part, at + ring) do
    local field = name .. ':' .. old % ring
    sum = sum - tonumber(redis.call('HGET', owner, field) or 0)
    redis.call('HDEL', owner, field)
  end
  redis.call('HSET', owner, name .. ':at', part, name .. ':sum', whole(sum))
  return sum, part
end

local function count_in_window(owner, name, amount, now)
  local sum, part = sum_of(owner, name, now)
  local ring = WINDOWS[name].parts + 1
  redis.call('HINCRBY', owner, name .. ':' .. part % ring, amount)
  redis.call('HSET', owner, name .. ':at', part, name .. ':sum', whole(sum + amount))
  redis.call('EXPIRE', owner, WINDOWS_KEPT_S)
end

-- Return in how many ms the window has room for so much more than it counts now, as old parts leave it.
local function resets_in(owner, name, excess, now)
  local window, at = WINDOWS[name], tonumber(redis.call('HGET', owner, name .. ':at') or part_of(WINDOWS[name], now))
  local ring, length = window.parts + 1, window.span / window.parts
  for part = at - window.parts, at do
    excess = excess - tonumber(redis.call('HGET', owner, name .. ':' .. part % ring) or 0)
    if excess <= 0 then
      return math.ceil((part + ring) * length - now)
    end
  end
  return window.span
end

-- Read the windows that `text` lists, a line '<owner's key> <window> <limit> <amount>' each. Of one without an amount
-- something has to be left.
local function read_windows(text)
  local windows = {}
  for owner, name, limit, amount in string.gmatch(text, '(%S+) (%S+) (%d+) (%d+)') do
    windows[#windows + 1] = { owner = owner, name = name, limit = tonumber(limit), amount = tonumber(amount) }
  end
  return windows
end

-- Return {name, limit, ms until it has room} of the first window without room, nil where all have room. Of each the
-- window's `left` is set to what is left of it.
local function find_full_window(windows, now)
  for _, window in ipairs(windows) do
    window.left = window.limit - sum_of(window.owner, window.name, now)
    local excess = math.max(1, window.amount) - window.left
    if excess > 0 then
      return { 'limited', window.name, whole(window.limit), resets_in(window.owner, window.name, excess, now) }
    end
  end
  return nil
end

-- Count what is taken in; return what is then left of each window, in their order.
local function count_in_windows(windows, now)
  local left = {}
  for i, window in ipairs(windows) do
    if window.amount > 0 then
      count_in_window(window.owner, window.name, window.amount, now)
    end
    left[i] = window.left - window.amount
  end
  return left
end
