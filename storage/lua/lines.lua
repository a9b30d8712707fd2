-- The waiting lines, shared by every script that puts work into them or takes work out; loaded behind the prelude.
--
-- A unit is a job, or one slot of a team's job. A lane is a class of work, a kind and, for work that waits for a
-- provider's budget, a model: 'i:run:', 'b:quick:', 'i:agent:llama'. In a lane each user has a line, in which units
-- stand under their concurrency keys; what was begun stands under no key, for its job holds the key already.
--
--   aether:lines:waiting               hash, lane -> units that wait in it
--   aether:lines:ready:<lane>          users of whom a unit may start, by their share so far; see `share_of`
--   aether:lines:idle:<lane>           those of them for whom nothing runs
--   aether:lines:keys:<lane>:<user>    the user's keys with a unit that may start, by rank of the first one, then turn
--   aether:lines:units:<lane>:<user>:<key>   units, by rank, then by when their job was taken in
--   aether:lines:all                   set of '<lane> <user> <key>' of the lines in which somebody stands
--   aether:lines:running:<user>        units that workers hold, by the ends of their leases
--   aether:lines:holding:<user>:<key>  jobs that were begun under the key and have not ended
--   aether:lines:shares:<class>        what each user was given lately, in starts over weight
--   aether:lines:clock                 hash: least share at the latest start by class, starts since the last one of a batch,
--                                      the last number
--   aether:lines:closed                hash, model -> ms (Unix) until which no unit that waits for it may start
--   aether:lines:starts:<n>            starts in ten seconds, for a minute
--   aether:lines:turn:<unit>           the model that a unit may ask the budget for next
--   aether:lines:waiters, :bell        threads that wait for work, by how long they do; what wakes one of them

local LINES = 'aether:lines:'
local WAITING, CLOCK, CLOSED, ALL = LINES .. 'waiting', LINES .. 'clock', LINES .. 'closed', LINES .. 'all'
-- What orders a line below its ranks: 2 to the power of 49 is more than any time in ms times 256.
local RANK = 562949953421312
-- The ranks before those of new jobs, which their priority gives.
local ENDS, BEGUN = 0, 1

local function next_number()
  return redis.call('HINCRBY', CLOCK, 'number', 1)
end

-- Make the scripts' functions work on another job than the one that KEYS name.
local function turn_to(job_id)
  -- A job's shard is its id's fifth letter; see core/ids.py.
  local prefix = 'aether:{' .. string.sub(job_id, 5, 5) .. '}:'
  KEYS[1], KEYS[2] = prefix .. 'job:' .. job_id, prefix .. 'events:' .. job_id
end

-- Read where the job stands in line, as storage/jobs/lines.py writes it.
local function to_line(text)
  local user, weight, most, class, kind, rank, limit, key =
    string.match(text, '^(%S+) (%d+) (%d+) (%a) (%a+) (%d+) (%d+) (.*)$')
  return {
    user = user, weight = tonumber(weight), most = tonumber(most), class = class, kind = kind, rank = tonumber(rank),
    limit = tonumber(limit), key = key,
  }
end

local function line_of_job()
  return to_line(redis.call('HGET', KEYS[1], 'line'))
end

local function units_key(lane, user, key)
  return LINES .. 'units:' .. lane .. ':' .. user .. ':' .. key
end

local function keys_key(lane, user)
  return LINES .. 'keys:' .. lane .. ':' .. user
end

local function running_key(user)
  return LINES .. 'running:' .. user
end

local function holding_key(line)
  return LINES .. 'holding:' .. line.user .. ':' .. line.key
end

-- Return what the user was given so far: at least as much as whoever started last, so that nobody saves up.
local function share_of(class, user)
  local own = tonumber(redis.call('ZSCORE', LINES .. 'shares:' .. class, user) or 0)
  return math.max(own, tonumber(redis.call('HGET', CLOCK, class) or 0))
end

local function set_share(class, user, share)
  redis.call('ZADD', LINES .. 'shares:' .. class, string.format('%.9f', share), user)
end

-- Put the user among those of whom a unit of the lane may start, or take him from there.
local function place(lane, line, running)
  local ready, idle = LINES .. 'ready:' .. lane, LINES .. 'idle:' .. lane
  if running >= line.most or redis.call('EXISTS', keys_key(lane, line.user)) == 0 then
    redis.call('ZREM', ready, line.user)
    redis.call('ZREM', idle, line.user)
    return
  end
  local share = string.format('%.9f', share_of(string.sub(lane, 1, 1), line.user))
  redis.call('ZADD', ready, share, line.user)
  if running == 0 then
    redis.call('ZADD', idle, share, line.user)
  else
    redis.call('ZREM', idle, line.user)
  end
end

local function count_units(user)
  return redis.call('ZCOUNT', running_key(user), now_ms(), '+inf')
end

-- The same in every lane, after what runs for the user has changed, and in `emptied`, which may be one no more.
local function place_everywhere(line, emptied)
  local lanes, running = redis.call('HKEYS', WAITING), count_units(line.user)
  for _, lane in ipairs(lanes) do
    place(lane, line, running)
  end
  if emptied and redis.call('HEXISTS', WAITING, emptied) == 0 then
    place(emptied, line, running)
  end
end

-- Let a key of the user's line in the lane have its turn, in its place or, with `is_last`, behind the others; one
-- without units, or at its limit, has none.
local function place_key(lane, line, key, is_last)
  local keys = keys_key(lane, line.user)
  local first = redis.call('ZRANGE', units_key(lane, line.user, key), 0, 0, 'WITHSCORES')
  local is_full = key ~= '' and redis.call('ZCARD', holding_key(line)) >= line.limit
  if not first[1] or is_full then
    redis.call('ZREM', keys, key)
    return
  end
  local old = not is_last and redis.call('ZSCORE', keys, key)
  local turn = old and tonumber(old) % RANK or next_number()
  redis.call('ZADD', keys, whole(math.floor(tonumber(first[2]) / RANK) * RANK + turn), key)
end

-- Put a unit of the job into its user's line; `model` is the one whose budget it waits for, or ''.
local function enter_line(job_id, slot, rank, kind, model)
  local line, now = line_of_job(), now_ms()
  local lane, key = line.class .. ':' .. kind .. ':' .. model, rank > BEGUN and line.key or ''
  local units, number = units_key(lane, line.user, key), redis.call('HGET', KEYS[1], 'number')
  if redis.call('ZADD', units, whole(rank * RANK + number), unit_of(job_id, slot)) == 1 then
    redis.call('HINCRBY', WAITING, lane, 1)
    redis.call('SADD', ALL, lane .. ' ' .. line.user .. ' ' .. key)
  end
  redis.call('HSET', KEYS[1], field(slot, 'lane'), lane, field(slot, 'queued'), now)
  place_key(lane, line, key, false)
  place(lane, line, count_units(line.user))
end

-- Count a unit that was taken out of a line.
local function count_out(lane, user, key)
  if redis.call('HINCRBY', WAITING, lane, -1) <= 0 then
    redis.call('HDEL', WAITING, lane)
  end
  if redis.call('EXISTS', units_key(lane, user, key)) == 0 then
    redis.call('SREM', ALL, lane .. ' ' .. user .. ' ' .. key)
  end
end

-- Take a unit out of its line, if it stands in one, or from those that wait for a time.
local function leave_line(job_id, slot)
  local unit, lane = unit_of(job_id, slot), redis.call('HGET', KEYS[1], field(slot, 'lane'))
  redis.call('ZREM', DEFERRED, unit)
  if not lane then
    return
  end
  redis.call('HDEL', KEYS[1], field(slot, 'lane'))
  local line = line_of_job()
  for _, key in ipairs(line.key == '' and { '' } or { '', line.key }) do
    if redis.call('ZREM', units_key(lane, line.user, key), unit) == 1 then
      count_out(lane, line.user, key)
      place_key(lane, line, key, false)
    end
  end
  place(lane, line, count_units(line.user))
end

-- Count a unit no longer as running; with `is_over` its job no longer holds its key.
local function stop_running(job_id, slot, is_over)
  local line = line_of_job()
  redis.call('ZREM', running_key(line.user), unit_of(job_id, slot))
  if is_over and line.key ~= '' and redis.call('ZREM', holding_key(line), job_id) == 1 then
    for _, lane in ipairs(redis.call('HKEYS', WAITING)) do
      place_key(lane, line, line.key, false)
    end
  end
  place_everywhere(line)
end

-- Wake waiting threads for so many units; return how many are left to be woken by messages.
local function wake(count)
  local now = now_ms()
  while count > 0 do
    local waiter = redis.call('ZPOPMIN', LINES .. 'waiters')
    if not waiter[1] then
      return count
    end
    if tonumber(waiter[2]) > now then
      redis.call('RPUSH', LINES .. 'bell', 1)
      redis.call('PEXPIRE', LINES .. 'bell', 2000)
      count = count - 1
    end
  end
  return 0
end

-- Say by when a unit that was begun has to have ended.
local function deadline_of(slot)
  local own = slot ~= '' and redis.call('HGET', KEYS[1], field(slot, 'deadline'))
  return own or redis.call('HGET', KEYS[1], 'deadline')
end

-- Watch over a unit that was begun and waits: only its deadline, or a cancel, ends it before a worker has it again.
local function watch_waiting(job_id, slot)
  local deadline = not is_cancelled() and deadline_of(slot)
  redis.call('ZADD', WATCH, deadline or now_ms(), unit_of(job_id, slot))
end

-- Take the unit from its worker; with `is_free` the attempt does not count.
local function give_back(job_id, slot, is_free)
  redis.call('HSET', KEYS[1], slot == '' and 'status' or field(slot, 'state'), 'queued')
  if is_free then
    redis.call('HINCRBY', KEYS[1], field(slot, 'attempt'), -1)
  end
  redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
  stop_running(job_id, slot, false)
end

-- Undo the start of a job that has done nothing yet: its time has not begun, but it may be given up again.
local function undo_start(job_id)
  redis.call('HDEL', KEYS[1], 'started', 'deadline')
  local expires = redis.call('HGET', KEYS[1], 'expires')
  if expires then
    redis.call('ZADD', EXPIRING, expires, job_id)
  end
  if is_cancelled() then
    redis.call('ZADD', WATCH, now_ms(), job_id)
  else
    redis.call('ZREM', WATCH, job_id)
  end
end

-- Name the queue in which a unit's wake-up goes.
local function kind_of(slot, line)
  if slot == '' then
    return line.kind
  end
  return string.sub(slot, -4) == '.end' and 'finish' or 'agent'
end

-- Write a new job's hash; `taken_in` (ms, Unix) gives its place among its user's.
local function write_new(job_id, spec, question, reserved, taken_in, line, allowed, expires)
  redis.call('HSET', KEYS[1], 'spec', spec, 'question', question, 'status', 'queued', 'attempt', 0, 'seq', 0,
    'reserved', reserved, 'accepted', taken_in, 'line', line, 'allowed', allowed,
    'number', whole(taken_in * 256 + next_number() % 256))
  if expires ~= '' then
    redis.call('HSET', KEYS[1], 'expires', expires)
    redis.call('ZADD', EXPIRING, expires, job_id)
  end
end

-- Put a job that was never begun into its line, unless it is to start later; return how many units may start now.
local function enter_new(job_id, run_at, now)
  if run_at > now then
    redis.call('HSET', KEYS[1], 'queued', run_at)
    redis.call('ZADD', DEFERRED, run_at, job_id)
    return 0
  end
  local line = line_of_job()
  enter_line(job_id, '', line.rank, line.kind, '')
  return 1
end

-- Put a unit that was begun back into its line.
local function enter_begun(job_id, slot, model)
  local kind = kind_of(slot, line_of_job())
  enter_line(job_id, slot, kind == 'finish' and ENDS or BEGUN, kind, model)
end

-- Take all slots from their workers, lines and indexes.
local function close_slots(job_id)
  for _, slot in ipairs(slots_of_job()) do
    leave_line(job_id, slot)
    redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
    redis.call('HSET', KEYS[1], field(slot, 'state'), 'done')
    redis.call('ZREM', WATCH, unit_of(job_id, slot))
    stop_running(job_id, slot, false)
  end
end

-- Return how many units of its user are before a job that waits, with it, and the ms until it starts at the rate of the
-- last starts, or -1 where that is not known; nil for one that stands in no line.
local function place_of(job_id)
  local now, own = now_ms(), redis.call('HMGET', KEYS[1], 'lane', 'line', 'queued', 'status')
  if own[4] == 'queued' and not own[1] and own[3] then
    local due = redis.call('ZSCORE', DEFERRED, job_id)
    return due and { -1, math.max(0, due - now) } or nil
  end
  if own[4] ~= 'queued' or not own[1] then
    return nil
  end
  local line, class, position = to_line(own[2]), string.sub(own[1], 1, 1), 1
  local score, users = nil, 0
  for _, key in ipairs({ '', line.key }) do
    score = score or redis.call('ZSCORE', units_key(own[1], line.user, key), job_id)
  end
  for _, lane in ipairs(redis.call('HKEYS', WAITING)) do
    if string.sub(lane, 1, 1) == class then
      users = users + redis.call('ZCARD', LINES .. 'ready:' .. lane)
      -- A key at its limit is not among those with a turn.
      local keys, is_own_there = redis.call('ZRANGE', keys_key(lane, line.user), 0, 99), false
      for _, key in ipairs(keys) do
        is_own_there = is_own_there or key == line.key
      end
      keys[#keys + 1] = not is_own_there and line.key or nil
      for _, key in ipairs(keys) do
        position = position + redis.call('ZCOUNT', units_key(lane, line.user, key), '-inf', '(' .. (score or 0))
      end
    end
  end
  local bucket = math.floor(now / 10000)
  local last = tonumber(redis.call('GET', LINES .. 'starts:' .. bucket - 1) or 0)
  local starts = last + tonumber(redis.call('GET', LINES .. 'starts:' .. bucket) or 0)
  local per_ms = starts / (10000 + now % 10000)
  return { position, per_ms > 0 and math.floor(position * math.max(1, users) / per_ms) or -1 }
end
