"""How an answer is made: who answers, with what in view, through which model."""
