from lib.model import Model


class Loop:
    best = None

    def __init__(self, model, rounds):
        self.model = model
        self.count = rounds

    def rounds(self):
        for n in range(self.count):
            children = [self.model.mutate(0.3 / (n + 1)) for _ in range(5)]
            children.append(self.model)
            self.model = max(children, key=Model.score)
            for key in list(Model.registry)[:-3]:
                del Model.registry[key]
            self.best = self.model.score()
            yield f"round {n}: {self.best!r}"
