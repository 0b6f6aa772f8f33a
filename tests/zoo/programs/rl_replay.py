"""Q-learning with a replay buffer in a deque, random.sample, and a numpy generator."""

import random
from collections import deque, namedtuple

import numpy as np
import torch
from torch import nn

Transition = namedtuple("Transition", "state action reward next_state done")


class Walk:
    """A line of 9 cells with a prize at one end."""

    def __init__(self, rng):
        self.rng = rng
        self.reset()

    def reset(self):
        self.at, self.time = int(self.rng.integers(1, 8)), 0
        return self.state()

    def state(self):
        one_hot = np.zeros(9, dtype=np.float32)
        one_hot[self.at] = 1
        return one_hot

    def act(self, action):
        slip = self.rng.random() < 0.1
        self.at = int(np.clip(self.at + (1 if (action == 1) != slip else -1), 0, 8))
        self.time += 1
        return self.state(), float(self.at == 8) - 0.01, self.at in (0, 8) or self.time >= 20


random.seed(0)
np.random.seed(1)
torch.manual_seed(2)
env = Walk(np.random.default_rng(3))
memory = deque(maxlen=150)
online, target = nn.Linear(9, 2), nn.Linear(9, 2)
target.load_state_dict(online.state_dict())
optimizer = torch.optim.Adam(online.parameters(), lr=0.02)
epsilon, returns = 1.0, []

for episode in range(16):
    state, done, total = env.reset(), False, 0.0
    while not done:
        if np.random.rand() < epsilon:
            action = random.randrange(2)
        else:
            action = online(torch.from_numpy(state)).argmax().item()
        next_state, reward, done = env.act(action)
        memory.append(Transition(state, action, reward, next_state, done))
        state, total = next_state, total + reward
        if len(memory) >= 16:
            batch = Transition(*zip(*random.sample(memory, 16)))
            s, n = torch.tensor(np.array(batch.state)), torch.tensor(np.array(batch.next_state))
            q = online(s).gather(1, torch.tensor(batch.action)[:, None])[:, 0]
            with torch.no_grad():
                goal = torch.tensor(batch.reward) + 0.95 * target(n).max(1).values * ~torch.tensor(
                    batch.done
                )
            loss = nn.functional.smooth_l1_loss(q, goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    epsilon = max(0.05, epsilon * 0.85)
    if episode % 4 == 3:
        target.load_state_dict(online.state_dict())
    returns.append(total)
    print(f"episode {episode} return {total:.3f} epsilon {epsilon:.4f} memory {len(memory)}")

print("mean return", sum(returns) / len(returns))
