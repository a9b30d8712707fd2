-- Shared by every job script, which is loaded with this text in front.
-- By convention KEYS[1] is the job's hash and KEYS[2] its event stream.

local EVENTS_KEPT = 10000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A job that several agents answer has slots, one for each piece of its work. The job itself is the slot ''; what is
-- said of a slot stands in fields of the job's hash that begin with its name.
local function field(slot, name)
  return slot == '' and name or slot .. ':' .. name
end

-- Name a slot's entry in the dispatch index.
local function entry(job_id, slot)
  return slot == '' and job_id or job_id .. '/' .. slot
end

local function slots_of_job()
  local names = {}
  for name in string.gmatch(redis.call('HGET', KEYS[1], 'slots') or '', '%S+') do
    names[#names + 1] = name
  end
  return names
end

local function is_running(slot, now)
  local state = redis.call('HMGET', KEYS[1], field(slot, 'state'), field(slot, 'lease'))
  return state[1] == 'running' and tonumber(state[2]) > now
end

-- Count the slots that live workers hold.
local function count_running(now)
  local count = 0
  for _, slot in ipairs(slots_of_job()) do
    if is_running(slot, now) then
      count = count + 1
    end
  end
  return count
end

-- Take all slots from their workers and from the dispatch index, which is KEYS[dispatch].
local function close_slots(job_id, dispatch)
  for _, slot in ipairs(slots_of_job()) do
    redis.call('HDEL', KEYS[1], field(slot, 'fence'), field(slot, 'lease'))
    redis.call('HSET', KEYS[1], field(slot, 'state'), 'done')
    redis.call('ZREM', KEYS[dispatch], entry(job_id, slot))
  end
end

local published = {}

-- Give an event the job's next number and keep it; `tell` tells those who listen.
local function append_event(job_id, type, at, data)
  local sequence = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  local body = '{"sequence":' .. sequence .. ',"type":"' .. type .. '","job_id":"' .. job_id
    .. '","at":"' .. at .. '","data":' .. data .. '}'
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', EVENTS_KEPT, sequence .. '-0', 't', type, 'b', body)
  published[#published + 1] = sequence .. ' ' .. type .. ' ' .. body
end

-- Publish what was appended as one message, a line an event: each message costs every listener.
local function tell()
  if #published > 0 then
    redis.call('PUBLISH', KEYS[2], table.concat(published, '\n'))
  end
end

-- Append the (type, data) pairs that ARGV holds from `first` on.
local function append_pairs(job_id, at, first)
  for i = first, #ARGV, 2 do
    append_event(job_id, ARGV[i], at, ARGV[i + 1])
  end
end

-- Append pairs of which the first `count` are batch `number` of the slot, sent before without an answer:
-- they are left out if they had arrived after all.
local function append_after_unsure(job_id, slot, at, number, count, first)
  if number > 0 and tonumber(redis.call('HGET', KEYS[1], field(slot, 'batch')) or 0) >= number then
    first = first + 2 * count
  end
  append_pairs(job_id, at, first)
end

local function holds(slot, fence)
  local state = redis.call('HMGET', KEYS[1], 'status', field(slot, 'fence'))
  return state[1] == 'in_progress' and state[2] == fence
end

-- Return the answer to a repeated Idempotency-Key, nil for a new one or none.
local function check_repeat(key, fingerprint)
  local seen = fingerprint ~= '' and redis.call('GET', key)
  if not seen then
    return nil
  end
  local split = string.find(seen, ':', 1, true)
  if string.sub(seen, 1, split - 1) == fingerprint then
    return {'repeat', string.sub(seen, split + 1)}
  end
  return {'conflict'}
end

local function remember_repeat(key, fingerprint, job_id, ttl_s)
  if fingerprint ~= '' then
    redis.call('SET', key, fingerprint .. ':' .. job_id, 'EX', ttl_s)
  end
end
